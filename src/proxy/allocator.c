// What options of mimalloc are called is known in C alone; their numbers differ between its versions.
#include <mimalloc.h>

// Pages that are free are never given back to the system.
void eliteloop_keep_freed_pages(void) { mi_option_set(mi_option_purge_delay, -1); }

long eliteloop_purge_delay(void) { return mi_option_get(mi_option_purge_delay); }
