typedef enum { STATUS_OK, STATUS_COUNT, ... } status;
typedef enum { DROP_SHORT, DROP_COUNT, ... } drop;
typedef enum { RAN_NO, RAN_UNKNOWN, RAN_YES, ... } outcome;

const char *status_text(unsigned number);
const char *drop_text(unsigned number);
const char *status_name(unsigned number);
const char *drop_name(unsigned number);
