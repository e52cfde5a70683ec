/* UDP over BSD sockets: Linux, macOS, and boards whose network stack has them (lwIP, Zephyr). */
#define _POSIX_C_SOURCE 200112L

#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/types.h>
#include <unistd.h>

#include "link.h"

static int socket_fd = -1;

int isplit_open(const char* host, const char* port) {
  struct addrinfo hints;
  struct addrinfo* found = NULL;
  struct addrinfo* one;
  memset(&hints, 0, sizeof hints);
  hints.ai_socktype = SOCK_DGRAM;
  if (getaddrinfo(host, port, &hints, &found) != 0) return 0;
  for (one = found; one != NULL && socket_fd < 0; one = one->ai_next) {
    socket_fd = socket(one->ai_family, one->ai_socktype, one->ai_protocol);
    /* Connected: datagrams of others do not come in. */
    if (socket_fd >= 0 && connect(socket_fd, one->ai_addr, one->ai_addrlen) != 0) {
      close(socket_fd);
      socket_fd = -1;
    }
  }
  freeaddrinfo(found);
  return socket_fd >= 0;
}

int isplit_send(const uint8_t* frame, size_t n) { return send(socket_fd, frame, n, 0) == (ssize_t)n; }

size_t isplit_receive(uint8_t* frame, size_t capacity, uint32_t timeout_ms) {
  struct timeval limit;
  ssize_t n;
  limit.tv_sec = (long)(timeout_ms / 1000u);
  limit.tv_usec = (long)(timeout_ms % 1000u) * 1000L;
  if (setsockopt(socket_fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0) return 0;
  n = recv(socket_fd, frame, capacity, 0);
  return n > 0 ? (size_t)n : 0;
}
