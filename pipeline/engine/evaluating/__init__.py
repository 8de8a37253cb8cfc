"""What an evaluation is given beside the judged split: texts of classes, and the training split."""
