<?php

declare(strict_types=1);

namespace Jackfield\Compat;

use Jackfield\Exception\ConnectException;
use Jackfield\Exception\PoolFullException;
use Jackfield\Transport\Warnings;

use function array_pop, count, extension_loaded, getmypid, in_array, intdiv, str_starts_with, substr;

/**
 * Connections that are lent to callers as sockets of the extension sockets.
 *
 * @internal
 */
final class SocketPool
{
    /** Time-out of connect(2), which waits while the backlog is full, in seconds. */
    private const CONNECT_TIMEOUT = 1.0;

    /** Error numbers after which a later attempt may succeed: ENOENT, EAGAIN, ECONNREFUSED. */
    private const TRANSIENT = [2, 11, 111];

    private readonly string $path;

    /** @var list<\Socket> */
    private array $idle = [];

    /** @var \WeakMap<\Socket, true> sockets in use; one that the caller drops is not counted */
    private \WeakMap $lent;

    /** Process that made the sockets. */
    private int $processId = 0;

    /**
     * @param string $address `unix:///path`, or a path
     * @param float  $timeout time-out of each read and write, in seconds
     * @param int    $max     maximum number of sockets, idle and lent
     */
    public function __construct(string $address, private readonly float $timeout, private readonly int $max)
    {
        $this->path = str_starts_with($address, 'unix://') ? substr($address, 7) : $address;
        $this->lent = new \WeakMap();
    }

    /**
     * @throws ConnectException|PoolFullException|\RuntimeException
     */
    public function take(): \Socket
    {
        $this->forgetSocketsOfParent();
        while (($socket = array_pop($this->idle)) !== null) {
            if (self::isQuiet($socket)) {
                return $this->lend($socket);
            }
            socket_close($socket);
        }

        if (count($this->lent) >= $this->max) {
            throw new PoolFullException("all {$this->max} connections of getConnection() are in use (call release())");
        }

        return $this->lend($this->connect());
    }

    public function release(\Socket $socket): void
    {
        $this->forgetSocketsOfParent();
        if (isset($this->lent[$socket]) && self::isQuiet($socket)) {
            $this->idle[] = $socket;
        } else {
            socket_close($socket);
        }
        unset($this->lent[$socket]);
    }

    private function lend(\Socket $socket): \Socket
    {
        $this->lent[$socket] = true;

        return $socket;
    }

    private function connect(): \Socket
    {
        if (!extension_loaded('sockets')) {
            throw new \RuntimeException('getConnection() needs the PHP extension sockets');
        }
        $socket = socket_create(AF_UNIX, SOCK_STREAM, 0);
        if ($socket === false) {
            $code = socket_last_error();
            $reason = socket_strerror($code);
            throw new \RuntimeException("cannot create a socket: $reason");
        }

        self::setTimeout($socket, SO_SNDTIMEO, self::CONNECT_TIMEOUT);
        if (!Warnings::silenced(fn (): bool => socket_connect($socket, $this->path))) {
            $code = socket_last_error($socket);
            $reason = socket_strerror($code);
            throw new ConnectException(
                "cannot connect to {$this->path}: $reason",
                $code,
                in_array($code, self::TRANSIENT, true)
            );
        }
        self::setTimeout($socket, SO_SNDTIMEO, $this->timeout);
        self::setTimeout($socket, SO_RCVTIMEO, $this->timeout);

        return $socket;
    }

    /**
     * Returns whether the connection is open and nothing waits to be read. Bytes that the previous
     * owner left would be taken for the reply of the next one.
     */
    private static function isQuiet(\Socket $socket): bool
    {
        $bytes = '';
        $count = Warnings::silenced(
            static fn (): int|false => socket_recv($socket, $bytes, 1, MSG_PEEK | MSG_DONTWAIT)
        );

        return $count === false && socket_last_error($socket) === SOCKET_EAGAIN;
    }

    /** A child process must not use the sockets of its parent. */
    private function forgetSocketsOfParent(): void
    {
        if ($this->processId !== getmypid()) {
            $this->processId = (int) getmypid();
            $this->idle = [];
            $this->lent = new \WeakMap();
        }
    }

    private static function setTimeout(\Socket $socket, int $option, float $seconds): void
    {
        $micros = (int) ($seconds * 1e6);
        $duration = ['sec' => intdiv($micros, 1_000_000), 'usec' => $micros % 1_000_000];
        socket_set_option($socket, SOL_SOCKET, $option, $duration);
    }
}
