// SPDX-License-Identifier: ISC
/*
 * The sockets of the listeners' addresses.
 */
#include "sallyport/runtime_binds.h"

#include <stdio.h>
#include <string.h>

#include "sallyport/listener.h"

size_t runtime_binds_count(const struct config *config)
{
	size_t n = 0;

	for (size_t i = 0; i < config->listeners_n; i++)
		n += config->listeners[i].binds_n;
	return n;
}

bool runtime_binds_has(const struct config *config, const struct netaddr *address)
{
	for (size_t i = 0; i < config->listeners_n; i++) {
		for (size_t j = 0; j < config->listeners[i].binds_n; j++) {
			if (memcmp(&config->listeners[i].binds[j], address, sizeof(*address)) == 0)
				return true;
		}
	}
	return false;
}

void runtime_binds_close(const int fds[], size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (fds[i] >= 0)
			listener_close(fds[i]);
	}
}

static void cannot_listen(const struct listener_config *listener, const struct netaddr *address, int why,
			  char error[RUNTIME_ERROR_MAX])
{
	char text[NETADDR_TEXT_MAX];

	snprintf(error, RUNTIME_ERROR_MAX, "listener %s: cannot listen on %s: %s", listener->name,
		 netaddr_format(address, text), strerror(-why));
}

bool runtime_binds_open(const struct config *config, const struct config *old, int fds[],
		       char error[RUNTIME_ERROR_MAX])
{
	size_t at = 0;

	for (size_t i = 0; i < config->listeners_n; i++) {
		const struct listener_config *listener = &config->listeners[i];

		for (size_t j = 0; j < listener->binds_n; j++, at++) {
			int fd = -1;

			fds[at] = -1;
			if (old != NULL && runtime_binds_has(old, &listener->binds[j]))
				continue;
			fd = listener_open(&listener->binds[j]);
			if (fd < 0) {
				cannot_listen(listener, &listener->binds[j], fd, error);
				runtime_binds_close(fds, at);
				return false;
			}
			fds[at] = fd;
		}
	}
	return true;
}

bool runtime_binds_probe(const struct config *config, const struct config *old, char error[RUNTIME_ERROR_MAX])
{
	for (size_t i = 0; i < config->listeners_n; i++) {
		const struct listener_config *listener = &config->listeners[i];

		for (size_t j = 0; j < listener->binds_n; j++) {
			int result = old != NULL && runtime_binds_has(old, &listener->binds[j])
					     ? 0
					     : listener_probe(&listener->binds[j]);

			if (result == 0)
				continue;
			cannot_listen(listener, &listener->binds[j], result, error);
			return false;
		}
	}
	return true;
}
