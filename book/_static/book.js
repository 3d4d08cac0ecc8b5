/* A page opened from a folder may not read its neighbours: no excerpts there. */
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
