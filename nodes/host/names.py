"""Display names of nodes that begin the errors of several files."""

LOADER = "Smooth-LoRA Loader"
SAVER = "Save Smooth-LoRA"
TRAINER = "Train Smooth-LoRA"
TRAINING_CHECK_NODE = "Training Check"
TRAINING_DATA_NODE = "Smooth-LoRA Training Data"
