"""Text that may be shown: without what opens a store, and without what moves a terminal."""
