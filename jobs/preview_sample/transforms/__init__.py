"""From a view to the reports: groups in Spark, everything else in plain Python."""
