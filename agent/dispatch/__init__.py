"""The way out: notifications into envelopes, protected ahead of the wire, sent in order, each outcome booked."""
