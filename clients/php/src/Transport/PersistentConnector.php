<?php

declare(strict_types=1);

namespace Jackfield\Transport;

use Jackfield\Exception\InvalidRequestException;
use Jackfield\Process;

/**
 * Connects over persistent sockets, which PHP keeps across the requests of one worker process.
 *
 * PHP identifies a persistent socket by its address and returns the same socket to a request that
 * connects twice. Each socket therefore needs a slot with an address of its own. The paths of the
 * slots differ in how often their last slash is repeated; all of them name the same file.
 */
final class PersistentConnector implements Connector
{
    /** @var array<string, true> paths of the slots in use by this request; a slot has one owner */
    private static array $slotsInUse = [];

    /** Process to which the slots belong. */
    private static int $process = 0;

    private readonly UnixAddress $unix;

    /**
     * @param string $address `unix:///path` or a path; the path must be absolute
     * @param int    $slots   maximum number of persistent sockets of one process to this host
     *
     * @throws InvalidRequestException if the address is not an absolute path of a Unix socket
     */
    public function __construct(string $address, private readonly int $slots)
    {
        $this->unix = UnixAddress::parse($address);

        if (!str_starts_with($this->unix->path, '/')) {
            // PHP looks the socket up by this text, even if the working directory has changed.
            throw new InvalidRequestException(
                "the option persistent needs an absolute socket path, not {$this->unix->path}"
            );
        }
    }

    public function connect(): Transport
    {
        $process = Process::id();
        if (self::$process !== $process) {
            // The slots of the parent process. Its sockets are recognized by their marker.
            self::$process = $process;
            self::$slotsInUse = [];
        }

        for ($slot = 0; $slot < $this->slots; $slot++) {
            $path = $this->slotPath($slot);
            if ($path === null) {
                break;
            }
            if (isset(self::$slotsInUse[$path])) {
                continue;
            }

            // A socket that its last owner did not leave clean, or that belongs to the parent
            // process, is closed, and the slot is connected again.
            do {
                $stream = $this->unix->open($path, STREAM_CLIENT_CONNECT | STREAM_CLIENT_PERSISTENT);
                $transport = new PersistentTransport($stream, static function () use ($path, $process): void {
                    if (self::$process === $process) {
                        unset(self::$slotsInUse[$path]);
                    }
                });
                self::$slotsInUse[$path] = true;
                try {
                    if ($transport->isClean()) {
                        return $transport;
                    }
                } catch (\Throwable $thrown) {
                    // Only a signal handler of the program throws here.
                    $transport->close();
                    throw $thrown;
                }
                $transport->close();
            } while (true);
        }

        // Every slot is in use, or a further slot would exceed the path limit. This connection ends
        // with the request.
        return new StreamTransport($this->unix->open($this->unix->path, STREAM_CLIENT_CONNECT));
    }

    public function address(): string
    {
        return 'unix://' . $this->unix->path;
    }

    /**
     * Returns the path of a slot, or null if it would be longer than a socket path may be.
     */
    private function slotPath(int $slot): ?string
    {
        $path = $this->unix->path;
        $slash = (int) strrpos($path, '/');

        return strlen($path) + $slot > UnixAddress::MAX_PATH_BYTES
            ? null
            : substr($path, 0, $slash) . str_repeat('/', $slot) . substr($path, $slash);
    }
}
