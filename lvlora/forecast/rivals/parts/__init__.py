"""Parts of several rivals: standardised histories, futures, linear algebra, rates."""
