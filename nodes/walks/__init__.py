"""The walk nodes: schedules, noise and text that walk, and the Walk Sampler."""
