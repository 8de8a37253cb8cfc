"""Files of images, kind by kind: whether they are whole, and their pixels."""
