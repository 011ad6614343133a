<?php

/**
 * The address of a host: the path of a Unix socket.
 */

declare(strict_types=1);

namespace Jackfield\Transport;

use Jackfield\Exception\ConnectException;
use Jackfield\Exception\InvalidRequestException;

final class UnixAddress
{
    /** The longest path in bytes: sun_path in unix(7) has 108 with its closing NUL. PHP would cut it silently. */
    public const PATH_MAX = 107;

    /** What waiting may mend: ENOENT, EINTR, EAGAIN (a full backlog), ECONNRESET, ECONNREFUSED on Linux. */
    private const TRANSIENT = [2, 4, 11, 104, 111];

    private function __construct(public readonly string $path)
    {
    }

    /**
     * @param string $address `unix:///path`, or a path alone
     * @throws InvalidRequestException when it is neither
     */
    public static function parse(string $address): self
    {
        $path = str_starts_with($address, 'unix://') ? substr($address, 7) : $address;
        if ($path === '' || str_contains($path, "\0") || str_contains($path, '://')) {
            throw new InvalidRequestException("not the address of a Unix socket: \"$address\"; write unix:///path");
        }
        if (strlen($path) > self::PATH_MAX) {
            throw new InvalidRequestException(
                'the path of a Unix socket has at most ' . self::PATH_MAX . ' bytes, this one has ' . strlen($path)
            );
        }

        return new self($path);
    }

    /**
     * Opens a stream to `$path`. A Unix socket connects at once or not at all: nothing is waited for.
     *
     * @return resource
     * @throws ConnectException
     */
    public function open(string $path, int $flags)
    {
        $code = 0;
        $text = '';
        try {
            // The time-out bounds what cannot happen on Linux: a Unix connect() that is still in progress.
            $stream = @stream_socket_client('unix://' . $path, $code, $text, 1.0, $flags);
        } catch (\Throwable) {
            // An error handler that throws for silenced warnings; the code has been set.
            $stream = false;
        }
        if ($stream === false) {
            $reason = $text !== '' ? $text : 'unknown error';
            throw new ConnectException(
                "cannot connect to unix://{$this->path}: $reason",
                $code,
                in_array($code, self::TRANSIENT, true)
            );
        }

        return $stream;
    }
}
