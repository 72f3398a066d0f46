"""From the files of a batch to typed rows, or to the rule that each refused row breaks."""
