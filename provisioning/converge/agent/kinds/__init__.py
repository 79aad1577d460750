"""One module per kind of resource, named after it, each with three functions kept apart.

    look(resources, host)               reads only; starts slow work and returns a function that returns the facts
    plan(resource, fact)                pure: returns changes as (verb, words) pairs, empty if none is needed
    apply(resource, fact, changes, host)  makes the changes; raises Failure

A change with the verb `refuse` is a failure with these words, and `apply` is not called. A kind may offer
`diff(resource, fact)`, the text of a unified diff. A resource has the fields of its class in resources.py.
"""
