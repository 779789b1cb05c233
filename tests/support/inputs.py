"""Objects for the stand-in stages."""

from worker.storage import storage


def put(request, person=None, cloth=None, suffix=""):
    """Upload two objects that belong to this test alone; returns their keys and contents."""
    mine = request.node.name + suffix
    person = person or f"person of {mine}"
    cloth = cloth or f"cloth of {mine}"
    keys = f"people/{mine}", f"cloths/{mine}"
    for key, data in zip(keys, (person, cloth), strict=True):
        storage().put_input(key, data.encode(), "text/plain")
    return keys, (person.encode(), cloth.encode())
