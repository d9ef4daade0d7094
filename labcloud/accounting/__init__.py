"""What clusters took, over time and now: read from the journal, summed exactly, billed with a price book. Changes nothing."""
