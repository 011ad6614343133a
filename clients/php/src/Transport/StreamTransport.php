<?php

declare(strict_types=1);

namespace Jackfield\Transport;

use function array_filter, count, fclose, fread, fwrite, hrtime, intdiv, is_resource, min, restore_error_handler;
use function set_error_handler, stream_get_meta_data, stream_select, stream_set_blocking, stream_set_read_buffer;
use function stream_set_write_buffer, stream_socket_recvfrom, strlen, substr, usleep;

/**
 * A non-blocking Unix socket, as a stream of the PHP core.
 *
 * A stream that other code has closed counts as closed by the peer. An exception that a signal
 * handler throws passes through every method; the connection is then in an unknown state.
 */
class StreamTransport implements Transport
{
    /** Maximum bytes per read. A small reply does not cost more because of it. */
    private const READ_BYTES = 65_536;

    /**
     * Maximum bytes per write.
     *
     * A socket buffer holds about as much. Offering more would copy a large frame once per write.
     */
    private const WRITE_BYTES = 262_144;

    /** Maximum duration of one stream_select(), in microseconds (one hour); callers wait again. */
    private const MAX_SELECT_MICROS = 3_600_000_000;

    /** Pause after a failed stream_select(), in microseconds. */
    private const FAILED_SELECT_PAUSE_MICROS = 200;

    /**
     * Whether the peer closed the connection before it had read everything that was written: the
     * read failed with ECONNRESET.
     */
    public bool $wasReset = false;

    private readonly \Closure $handler;

    /** @param resource $stream a connected stream; it is made non-blocking and unbuffered */
    public function __construct(protected $stream)
    {
        $this->handler = Warnings::handler();
        stream_set_blocking($stream, false);

        // Neither stream_select() nor a later owner of the socket would see bytes in PHP's buffers.
        stream_set_read_buffer($stream, 0);
        stream_set_write_buffer($stream, 0);
    }

    public function write(string $bytes, int $offset = 0): ?int
    {
        if ($offset > 0 || strlen($bytes) > self::WRITE_BYTES) {
            $bytes = substr($bytes, $offset, self::WRITE_BYTES);
        }

        if (!is_resource($this->stream)) {
            return null;
        }

        $handler = $this->handler;
        $isSet = true;
        try {
            set_error_handler($handler);
            $written = fwrite($this->stream, $bytes);
            $isSet = false;
            restore_error_handler();
        } catch (\Throwable $thrown) {
            if ($isSet) {
                restore_error_handler();
            }
            throw $thrown;
        }

        return $written === false ? null : $written;
    }

    public function read(): ?string
    {
        if (!is_resource($this->stream)) {
            return null;
        }

        // Reading a socket raises no warning.
        $bytes = fread($this->stream, self::READ_BYTES);

        if ($bytes === '' || $bytes === false) {
            // Not feof(), which may wait for data.
            if (!stream_get_meta_data($this->stream)['eof']) {
                return '';
            }
            $this->wasReset = $this->wasReset || $bytes === false;

            return null;
        }

        return $bytes;
    }

    public function isQuiet(): bool
    {
        // False means "no data yet". An error counts as no data, too: the next write reports it.
        return is_resource($this->stream) && stream_socket_recvfrom($this->stream, 1, STREAM_PEEK) === false;
    }

    public function wait(bool $orWrite, int $deadline): bool
    {
        $write = null;
        do {
            $remaining = $deadline - hrtime(true);
            if ($remaining <= 0) {
                return false;
            }

            $read = [$this->stream];
            if ($orWrite) {
                $write = [$this->stream];
            }
            $ready = self::select($read, $write, $remaining);
        } while ($ready === 0);

        return true;
    }

    /**
     * Waits for streams like stream_select(), with a time-out in nanoseconds.
     *
     * stream_select() fails when a signal arrives, or when the descriptor of a stream is 1,024 or
     * higher, which is beyond the limit of select(2). All streams then count as ready after a pause
     * of 200 us. The streams are non-blocking, so a read or write without effect is harmless.
     *
     * @param array<resource>      $read  streams to wait for; receives those that are readable
     * @param array<resource>|null $write streams to wait for; receives those that are writable
     * @param int                  $nanos time-out, in nanoseconds
     *
     * @return int number of ready streams, 0 after the time-out
     */
    public static function select(array &$read, ?array &$write, int $nanos): int
    {
        // Rounded up: otherwise the caller would loop through the last microsecond. Bounded: the
        // kernel's clock is, too.
        $micros = $nanos < self::MAX_SELECT_MICROS * 1_000 ? intdiv($nanos + 999, 1_000) : self::MAX_SELECT_MICROS;

        $seconds = intdiv($micros, 1_000_000);
        $except = null;
        $handler = Warnings::handler();
        $isSet = true;
        try {
            Warnings::$outer = set_error_handler($handler);
            $ready = stream_select($read, $write, $except, $seconds, $micros % 1_000_000);
            $isSet = false;
            restore_error_handler();
        } catch (\Throwable $thrown) {
            if ($isSet) {
                restore_error_handler();
            }
            if (!$thrown instanceof \TypeError || array_filter($read, is_resource(...)) === $read) {
                throw $thrown;
            }
            // Other code has closed a stream, which the next read reports.
            $ready = false;
        }

        if ($ready === false) {
            $pause = min($micros, self::FAILED_SELECT_PAUSE_MICROS);
            usleep($pause);

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
