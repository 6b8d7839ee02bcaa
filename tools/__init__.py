"""Programs that maintain the project itself; no stage uses them."""
