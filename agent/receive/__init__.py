"""The way back: receipts and error notices, booked before they are settled."""
