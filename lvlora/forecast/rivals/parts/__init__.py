"""What several rivals are made of: standardised histories, futures, linear algebra, rates."""
