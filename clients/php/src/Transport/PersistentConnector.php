<?php

/**
 * Connects through sockets that outlive the request, one numbered slot each.
 *
 * PHP finds a persistent socket by its address, and gives the same one twice to a request that asks twice. Slots get
 * addresses of their own by repeating the last slash of the path, which names the same file.
 */

declare(strict_types=1);

namespace Jackfield\Transport;

use Jackfield\Exception\InvalidRequestException;

final class PersistentConnector implements Connector
{
    /** @var array<string, true> the slots that this request holds, by path: each has one owner at a time */
    private static array $taken = [];

    private readonly UnixAddress $unix;

    /** @param int $slots the most persistent sockets one process keeps to this host */
    public function __construct(string $address, private readonly int $slots)
    {
        $this->unix = UnixAddress::parse($address);
        if (!str_starts_with($this->unix->path, '/')) {
            // PHP finds the socket by this very text, whatever the working directory is by then.
            throw new InvalidRequestException("persistent sockets need an absolute path, not {$this->unix->path}");
        }
    }

    public function connect(): Transport
    {
        for ($slot = 0; $slot < $this->slots; $slot++) {
            $path = $this->path($slot);
            if ($path === null) {
                break;
            }
            if (isset(self::$taken[$path])) {
                continue;
            }
            // A socket that its last owner left out of step is closed, and the slot opened anew.
            do {
                $stream = $this->unix->open($path, STREAM_CLIENT_CONNECT | STREAM_CLIENT_PERSISTENT);
                $transport = new PersistentTransport($stream, static function () use ($path): void {
                    unset(self::$taken[$path]);
                });
                self::$taken[$path] = true;
                if ($transport->isSound()) {
                    return $transport;
                }
                $transport->close();
            } while (true);
        }

        // Every slot is in use, or the path leaves no room for more: this connection ends with the request.
        return new StreamTransport($this->unix->open($this->unix->path, STREAM_CLIENT_CONNECT));
    }

    public function address(): string
    {
        return 'unix://' . $this->unix->path;
    }

    /** The path of a slot; null when it would be too long. */
    private function path(int $slot): ?string
    {
        $path = $this->unix->path;
        $slash = (int) strrpos($path, '/');

        return strlen($path) + $slot > UnixAddress::PATH_MAX
            ? null
            : substr($path, 0, $slash) . str_repeat('/', $slot) . substr($path, $slash);
    }
}
