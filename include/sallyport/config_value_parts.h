// SPDX-License-Identifier: ISC
/*
 * Between config_value.c and config_list.c: the parsers of single kinds. Use
 * config_value.h.
 */
#ifndef SALLYPORT_CONFIG_VALUE_PARTS_H
#define SALLYPORT_CONFIG_VALUE_PARTS_H

#include "sallyport/config.h"
#include "sallyport/config_value.h"

#define CONFIG_NOT_A_NAME "is not a name (letters, digits, _ - and ., at most 31, like main)"

/* Sets *why; CONFIG_WRONG. */
enum config_parsed config_wrong(struct config_why *why, const char *format, ...) SP_PRINTF(2, 3);

bool config_name_is_valid(const char *text);

enum config_parsed config_passive_parse(const char *text, struct listener_config *listener,
					struct config_why *why);
enum config_parsed config_host_parse(const char *text, struct netaddr *field, struct config_why *why);
enum config_parsed config_server_parse(const char *text, struct server_config *server,
				       struct config_why *why);
enum config_parsed config_ports_parse(const char *text, struct port_range *field,
				      struct config_why *why);
enum config_parsed config_syslog_parse(const char *text, struct log_config *log,
				       struct config_why *why);

/* Each adds one element to the array *v of *n. */
enum config_parsed config_listen_add(const char *text, struct netaddr **v, size_t *n,
				     struct config_why *why);
enum config_parsed config_name_servers_add(const char *text, struct netaddr **v, size_t *n,
					   struct config_why *why);
enum config_parsed config_networks_add(const char *text, struct netblock **v, size_t *n,
				       struct config_why *why);
enum config_parsed config_addresses_for_add(const char *text, struct address_for **v, size_t *n,
					    struct config_why *why);
enum config_parsed config_times_add(const char *text, struct route_window **v, size_t *n,
				    struct config_why *why);
enum config_parsed config_patterns_add(const char *text, char ***v, size_t *n,
				       struct config_why *why);
enum config_parsed config_names_add(const char *text, char ***v, size_t *n,
				    struct config_why *why);
enum config_parsed config_verbs_add(const char *text, char ***v, size_t *n,
				    struct config_why *why);

#endif
