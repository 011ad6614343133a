<?php

/**
 * How a client behaves. Every value has a default that suits a web request.
 */

declare(strict_types=1);

namespace Jackfield;

use Jackfield\Exception\InvalidRequestException;
use Jackfield\Wire\Header;
use Psr\Log\LoggerInterface;

use function hrtime;

final class Options
{
    /**
     * @param float $timeout          seconds a call may take in all (connect, write, wait, read) unless it says otherwise
     * @param int   $maxConnections   most sockets at once, idle and busy ones together
     * @param int   $maxInFlightPerConnection most async calls on one socket; the host stops reading at 1,024
     * @param int   $maxQueued        most async calls waiting for a place on a socket; past it, PoolFullException
     * @param int   $maxUnsentBytes   bytes of async requests the client holds back for a host that does not read,
     *                                before callAsync() itself waits
     * @param int   $maxFrameBytes    largest reply taken, in bytes; the host's own default limit is the same
     * @param int   $maxTries         most times one request is sent: again only if it was certainly not started, or
     *                                the call says it is idempotent
     * @param float $healthCheckAfter seconds a socket may lie idle before a heartbeat must be answered on it
     * @param float $idleTimeout      seconds after which an idle socket is closed instead of used; less than the
     *                                host's 5 minutes
     * @param bool  $persistent       keep sockets across requests of php-fpm (the path must be absolute)
     * @param bool  $associative      JSON objects become arrays; false: stdClass
     * @param bool  $fibers           inside a fiber, call() and await() suspend the fiber instead of the process.
     *                                Somebody else then has to call run() or tick()
     * @param LoggerInterface|null $logger where ids, durations and failures are logged
     * @param float $spin             seconds for which a sync call looks for its reply without going to sleep, before
     *                                it waits for it; 0: none. 0.00005 saves the time of waking up where a method
     *                                answers within that and a core is free, and costs that much of a core at most
     *
     * @throws InvalidRequestException for a value that makes no sense
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
    ) {
        self::within('timeout', $timeout, 0.001, 86_400.0);
        self::within('maxConnections', $maxConnections, 1, 1_000);
        self::within('maxInFlightPerConnection', $maxInFlightPerConnection, 1, 1_024);
        self::within('maxQueued', $maxQueued, 0, 10_000_000);
        self::within('maxUnsentBytes', $maxUnsentBytes, 1, PHP_INT_MAX);
        self::within('maxFrameBytes', $maxFrameBytes, 1, Header::MAX_PAYLOAD);
        self::within('maxTries', $maxTries, 1, 10);
        self::within('healthCheckAfter', $healthCheckAfter, 0.0, 86_400.0);
        self::within('spin', $spin, 0.0, 0.01);
        self::within('idleTimeout', $idleTimeout, 0.0, 86_400.0);
    }

    /**
     * The deadline of a call that begins now.
     *
     * @param float|null $timeout seconds; null: the client's own
     * @return int an instant of hrtime(true), nanoseconds
     */
    public function deadline(?float $timeout): int
    {
        if ($timeout === null) {
            $timeout = $this->timeout;
        } else {
            self::within('timeout', $timeout, 0.0, 86_400.0);
        }

        return hrtime(true) + (int) ($timeout * 1e9);
    }

    private static function within(string $name, int|float $value, int|float $least, int|float $most): void
    {
        // Written so that NAN is outside.
        if (!($value >= $least && $value <= $most)) {
            throw new InvalidRequestException("$name must lie between $least and $most, not $value");
        }
    }
}
