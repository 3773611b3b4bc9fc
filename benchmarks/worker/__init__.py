"""What runs beside a framework, in a process of its own: clock, certificate and ledger."""
