"""What several rivals are made of: histories scaled to order one, futures, linear algebra, rates."""
