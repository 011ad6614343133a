<?php

declare(strict_types=1);

namespace Jackfield;

use Jackfield\Call\RequestMembers;
use Jackfield\Exception\InvalidRequestException;
use Jackfield\Wire\Header;
use Psr\Log\LoggerInterface;

use function hrtime;

/**
 * The options of a client. The defaults suit a web request.
 */
final class Options
{
    /** @internal flags of json_encode() */
    public readonly int $encodeFlags;

    /** @internal */
    public readonly RequestMembers $members;

    /**
     * @param float $timeout time-out of a call (connect, write, wait, read) that passes none, in
     *                       seconds: 0.001 to 86,400
     * @param int $maxConnections maximum number of sockets, idle and busy: 1 to 1,000
     * @param int $maxInFlightPerConnection maximum number of async calls on one socket: 1 to 1,024;
     *                                      the host stops reading at 1,024
     * @param int $maxQueued maximum number of async calls that wait for a socket with capacity;
     *                       callAsync() beyond it throws PoolFullException: 0 to 10,000,000
     * @param int $maxUnsentBytes bytes of async requests to buffer for a host that does not read,
     *                            before callAsync() waits: 1 or more
     * @param int $maxFrameBytes maximum size of a reply, in bytes: 1 to 4 GiB - 1; the default is
     *                           also the host's default. A larger reply fails its call; if it is
     *                           more than four times as large, the connection is closed
     * @param int $maxTries how often one request may be sent: 1 to 10. It is sent again only if the
     *                      host certainly did not start it, or if the call is idempotent. Answers
     *                      of a host that is going away do not count
     * @param float $healthCheckAfter idle time of a socket after which it must answer a heartbeat
     *                                before it is used, in seconds: 0 to 86,400
     * @param float $idleTimeout idle time after which a socket is closed instead of used, in
     *                           seconds: 0 to 86,400; keep it below the host's 5 minutes
     * @param bool $persistent whether sockets are kept across requests of php-fpm; the socket path
     *                         must be absolute
     * @param bool $associative whether JSON objects become arrays; otherwise they become stdClass
     * @param bool $fibers whether call() and await() inside a fiber suspend the fiber instead of
     *                     the process. Code outside the fiber then has to call run() or tick()
     * @param LoggerInterface|null $logger receives ids, durations and failures
     * @param float $spin how long a sync call polls for its reply before it sleeps, in seconds: 0
     *                    (never) to 0.01. 0.00005 saves the wake-up latency if a method answers
     *                    within 50 us and a core is free, and costs at most 50 us of one core
     * @param float $connectTimeout how long a call waits for a host that cannot be reached, in
     *                              seconds: 0 (one attempt) to 86,400; never longer than its
     *                              time-out. After two calls in a row have waited in vain, the
     *                              calls of this process do not wait, except for one a second
     * @param bool $preserveZeroFraction whether a float without a fraction is sent as `3.0`;
     *                                   otherwise as `3`, which a method may read as an integer
     * @param string|\Closure|null $traceparent the traceparent of calls that pass none, or a
     *                                          function that returns the current one: a string,
     *                                          an array with the members `traceparent` and
     *                                          `tracestate`, or null. A traceparent has version 00
     *                                          of W3C Trace Context
     * @param string|null $tracestate the tracestate that belongs to it, at most 512 bytes
     * @param array<string, string> $meta metadata of calls that pass none, for the plugin: at most
     *                                    16 members and 2 KiB
     * @param bool $hello whether the client asks the host, on each new connection, for version 1.2
     *                    of the protocol. An older host ignores it
     * @param bool $timing whether the client asks the host for the timing of each call
     *
     * @throws InvalidRequestException if a value is out of range
     */
    public function __construct(
        public readonly float $timeout = 5.0,
        public readonly int $maxConnections = 20,
        public readonly int $maxInFlightPerConnection = 512,
        public readonly int $maxQueued = 16_384,
        public readonly int $maxUnsentBytes = 8_388_608,
        public readonly int $maxFrameBytes = 16_777_216,
        public readonly int $maxTries = 3,
        public readonly float $healthCheckAfter = 1.0,
        public readonly float $idleTimeout = 240.0,
        public readonly bool $persistent = false,
        public readonly bool $associative = true,
        public readonly bool $fibers = false,
        public readonly ?LoggerInterface $logger = null,
        public readonly float $spin = 0.0,
        public readonly bool $preserveZeroFraction = false,
        public readonly float $connectTimeout = 1.0,
        public readonly string|\Closure|null $traceparent = null,
        public readonly ?string $tracestate = null,
        public readonly array $meta = [],
        public readonly bool $hello = true,
        public readonly bool $timing = true,
    ) {
        self::checkRange('timeout', $timeout, 0.001, 86_400.0);
        self::checkRange('maxConnections', $maxConnections, 1, 1_000);
        self::checkRange('maxInFlightPerConnection', $maxInFlightPerConnection, 1, 1_024);
        self::checkRange('maxQueued', $maxQueued, 0, 10_000_000);
        self::checkRange('maxUnsentBytes', $maxUnsentBytes, 1, PHP_INT_MAX);
        self::checkRange('maxFrameBytes', $maxFrameBytes, 1, Header::MAX_PAYLOAD);
        self::checkRange('maxTries', $maxTries, 1, 10);
        self::checkRange('healthCheckAfter', $healthCheckAfter, 0.0, 86_400.0);
        self::checkRange('spin', $spin, 0.0, 0.01);
        self::checkRange('idleTimeout', $idleTimeout, 0.0, 86_400.0);
        self::checkRange('connectTimeout', $connectTimeout, 0.0, 86_400.0);
        $this->members = new RequestMembers($this);
        $this->encodeFlags = $preserveZeroFraction ? JSON_PRESERVE_ZERO_FRACTION : 0;
    }

    /**
     * Returns the deadline of a call that begins now.
     *
     * @param float|null $timeout seconds, 0 to 86,400; null uses the time-out of the client
     * @param int|null   $started when the call began, as hrtime(true); null: now
     *
     * @return int an instant of hrtime(true), in nanoseconds
     *
     * @throws InvalidRequestException if the time-out is out of range
     */
    public function deadline(?float $timeout, ?int $started = null): int
    {
        if ($timeout === null) {
            $timeout = $this->timeout;
        } else {
            self::checkRange('timeout', $timeout, 0.0, 86_400.0);
        }

        return ($started ?? hrtime(true)) + (int) ($timeout * 1e9);
    }

    private static function checkRange(string $name, int|float $value, int|float $min, int|float $max): void
    {
        // The negation makes NAN fail, too.
        if (!($value >= $min && $value <= $max)) {
            throw new InvalidRequestException("$name must be between $min and $max, not $value");
        }
    }
}
