"""No script from another host."""


def setup(app):
    # Jupyter Book always loads sphinx-thebe, which names a script on another host.
    # Its style sheet stays: every page asks for it.
    for listener in [one for all_ in app.events.listeners.values() for one in all_]:
        handler = listener.handler
        if (
            handler.__module__ == "sphinx_thebe"
            and handler.__name__ != "st_static_path"
        ):
            app.disconnect(listener.id)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
