# A router between two networks: it forwards, and with NAT it hides who is behind it. See docker/router.
#
# Where no image can be pulled, docker/bases makes the one that TOOLS names from the host.
ARG TOOLS=alpine:3.20

FROM ${TOOLS}
RUN command -v ip && command -v iptables || apk add --no-cache iproute2 iptables
COPY docker/router /router
ENTRYPOINT ["/router"]
