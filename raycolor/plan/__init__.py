"""The look before: what an archive holds and what colorizing it will take, without Ray, writing no photograph."""
