<?php

declare(strict_types=1);

namespace Jackfield\Transport;

use Jackfield\Exception\ConnectException;
use Jackfield\Exception\InvalidRequestException;

/**
 * The address of a host: the path of a Unix socket.
 *
 * @internal
 */
final class UnixAddress
{
    /**
     * Maximum length of a path, in bytes.
     *
     * `sun_path` (unix(7)) has 108 bytes including the NUL. PHP would cut a longer path silently.
     */
    public const MAX_PATH_BYTES = 107;

    private const ENOENT = 2;
    private const EINTR = 4;
    private const EAGAIN = 11;
    private const EACCES = 13;
    private const ECONNRESET = 104;
    private const ECONNREFUSED = 111;

    /** Errors of connect(2) on Linux after which a later attempt may succeed. */
    private const TRANSIENT = [self::ENOENT, self::EINTR, self::EAGAIN, self::ECONNRESET, self::ECONNREFUSED];

    /** Hints for the text of an exception, by error number of connect(2). */
    private const HINTS = [
        self::ENOENT => ' (check that the host is running and listens on this path)',
        self::EAGAIN => ' (the backlog of the listener is full)',
        self::EACCES => ' (check the permissions of the socket and of its directory)',
        self::ECONNREFUSED => ' (check that the host is running)',
    ];

    private function __construct(public readonly string $path)
    {
    }

    /**
     * Parses an address.
     *
     * @param string $address `unix:///path`, or a path alone
     *
     * @throws InvalidRequestException if the address is neither, or the path has more than
     *                                 MAX_PATH_BYTES
     */
    public static function parse(string $address): self
    {
        $path = str_starts_with($address, 'unix://') ? substr($address, 7) : $address;

        if ($path === '' || str_contains($path, "\0") || str_contains($path, '://')) {
            throw new InvalidRequestException("\"$address\" is not the address of a Unix socket (write unix:///path)");
        }
        if (strlen($path) > self::MAX_PATH_BYTES) {
            throw new InvalidRequestException(
                "the socket path $path has " . strlen($path) . ' bytes, but the system allows only '
                . self::MAX_PATH_BYTES
            );
        }

        return new self($path);
    }

    /**
     * Opens a stream to `$path`.
     *
     * A Unix socket connects immediately or fails immediately, so this does not wait.
     *
     * @param int $flags the STREAM_CLIENT_* flags of the stream
     *
     * @return resource
     *
     * @throws ConnectException if connect(2) failed
     */
    public function open(string $path, int $flags)
    {
        $code = 0;
        $text = '';
        $handler = Warnings::handler();
        $isSet = true;
        try {
            Warnings::$outer = set_error_handler($handler);
            // The time-out only matters for a connect(2) in progress, which does not occur for Unix
            // sockets on Linux.
            $stream = stream_socket_client('unix://' . $path, $code, $text, 1.0, $flags);
            $isSet = false;
            restore_error_handler();
        } catch (\Throwable $thrown) {
            if ($isSet) {
                restore_error_handler();
            }
            throw $thrown;
        }

        if ($stream === false) {
            $reason = ($text !== '' ? $text : 'unknown error') . (self::HINTS[$code] ?? '');
            throw new ConnectException(
                "cannot connect to unix://{$this->path}: $reason",
                $code,
                in_array($code, self::TRANSIENT, true)
            );
        }

        return $stream;
    }
}
