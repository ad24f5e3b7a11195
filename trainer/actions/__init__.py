"""What follows training, one module per action of `ml_recog`."""
