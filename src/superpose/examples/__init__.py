"""What the demo and the figures run on: packaged encoders, texts and pictures that come with other software."""
