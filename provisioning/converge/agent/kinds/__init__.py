"""One module per kind of resource, named after it, each with three functions kept apart.

    look(wishes, host)              reads only; starts what takes time and returns a function that returns the facts
    plan(wish, fact)                pure: returns changes as (verb, words) pairs, none when there is nothing to do
    apply(wish, fact, changes, host)  makes the changes; raises Failure

A change with the verb `refuse` says why nothing can be done: its words are the failure, and `apply` is not called.
A kind may offer `diff(wish, fact)`, the text of a unified diff. A wish has the fields of its class in resources.py.
"""
