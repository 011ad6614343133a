<?php

/**
 * A Unix socket as a stream of the PHP core, never blocking.
 */

declare(strict_types=1);

namespace Jackfield\Transport;

use function count, fclose, fread, fwrite, hrtime, intdiv, is_resource, min, stream_get_meta_data, stream_select;
use function stream_set_blocking, stream_set_read_buffer, stream_set_write_buffer, stream_socket_recvfrom, strlen;
use function substr, usleep;

class StreamTransport implements Transport
{
    /** Bytes asked for in one read. A small reply costs no more for it. */
    private const READ = 65_536;
    /** Bytes offered in one write: about what a socket buffer holds, so that a large frame is not copied often. */
    private const WRITE = 262_144;

    /** The longest single wait in microseconds; whoever waits longer comes back. */
    private const LONGEST_WAIT = 3_600_000_000;
    /** Microseconds to pause where select(2) cannot wait. */
    private const FAILED_WAIT = 200;

    /** @param resource $stream a connected stream; it is made non-blocking and unbuffered */
    public function __construct(protected $stream)
    {
        stream_set_blocking($stream, false);
        // What PHP buffers, stream_select() and a later owner of the socket would not see.
        stream_set_read_buffer($stream, 0);
        stream_set_write_buffer($stream, 0);
    }

    public function write(string $bytes, int $offset = 0): ?int
    {
        if ($offset > 0 || strlen($bytes) > self::WRITE) {
            $bytes = substr($bytes, $offset, self::WRITE);
        }
        try {
            $written = @fwrite($this->stream, $bytes);
        } catch (\Throwable) {
            // An error handler that turns even silenced notices into exceptions: the write itself failed.
            return null;
        }

        return $written === false ? null : $written;
    }

    public function read(): ?string
    {
        try {
            $bytes = @fread($this->stream, self::READ);
        } catch (\Throwable) {
            return null;
        }
        if ($bytes === '' || $bytes === false) {
            // Not feof(): it may wait for data, this only looks.
            return stream_get_meta_data($this->stream)['eof'] ? null : '';
        }

        return $bytes;
    }

    public function isQuiet(): bool
    {
        // False is "nothing yet"; an error counts as that too, and the write that follows meets it again.
        return @stream_socket_recvfrom($this->stream, 1, STREAM_PEEK) === false;
    }

    public function wait(bool $orWrite, int $deadline): bool
    {
        $write = null;
        do {
            $left = $deadline - hrtime(true);
            if ($left <= 0) {
                return false;
            }
            $read = [$this->stream];
            if ($orWrite) {
                $write = [$this->stream];
            }
            $ready = self::select($read, $write, $left);
        } while ($ready === 0);

        return true;
    }

    /**
     * stream_select() with nanoseconds. When it fails, because a signal came or because a stream's number is beyond
     * what select(2) can take (1,024), all streams count as ready after a short pause: they are non-blocking, so
     * looking at them in vain does no harm.
     *
     * @param array<resource> $read
     * @param array<resource>|null $write
     */
    public static function select(array &$read, ?array &$write, int $nanos): int
    {
        $except = null;
        // Rounded up, or the last microsecond would be spun away; bounded, as the kernel's clock is.
        $micros = $nanos < self::LONGEST_WAIT * 1_000 ? intdiv($nanos + 999, 1_000) : self::LONGEST_WAIT;
        try {
            $ready = @stream_select($read, $write, $except, intdiv($micros, 1_000_000), $micros % 1_000_000);
        } catch (\Throwable) {
            // An error handler that turns even silenced warnings into exceptions.
            $ready = false;
        }
        if ($ready === false) {
            usleep(min($micros, self::FAILED_WAIT));

            return count($read);
        }

        return $ready;
    }

    public function stream()
    {
        return $this->stream;
    }

    public function begin(): bool
    {
        return true;
    }

    public function end(): void
    {
    }

    public function hasHistory(): bool
    {
        return false;
    }

    public function close(): void
    {
        if (is_resource($this->stream)) {
            fclose($this->stream);
        }
    }

    public function leave(): void
    {
        $this->close();
    }
}
