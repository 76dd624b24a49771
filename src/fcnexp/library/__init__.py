"""What other people's programs call: parts built by name, labels, records, reports."""
