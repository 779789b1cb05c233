"""Pictures: decoding, the canvas and its frame, labels and joints, compositing."""
