"""Side-by-side measurements, and the page that their results make."""
