"""From records to figures: summary, statistics, comparisons, flags, survival."""
