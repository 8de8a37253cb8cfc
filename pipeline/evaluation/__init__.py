"""Which of several models is better, and how sure that is: differences on the same samples, tests, baselines, pages."""
