<?php

/**
 * A connection to a FakeHost. Requests are answered while they are written; replies come through a real socket pair,
 * so that stream_select() sees them.
 */

declare(strict_types=1);

namespace Jackfield\Testing;

use Jackfield\Transport\StreamTransport;
use Jackfield\Wire\FrameReader;
use Jackfield\Wire\Header;

/** @internal */
final class FakeTransport extends StreamTransport
{
    /** @var resource|null the host's end; null once it hung up */
    private $far;
    private readonly FrameReader $reader;
    /** Replies that the socket had no room for. */
    private string $unsent = '';

    public function __construct(private readonly FakeHost $host)
    {
        $pair = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
        if ($pair === false) {
            throw new \RuntimeException('no socket pair');
        }
        [$near, $this->far] = $pair;
        stream_set_blocking($this->far, false);
        $this->reader = new FrameReader(Header::MAX_PAYLOAD);
        parent::__construct($near);
    }

    public function write(string $bytes, int $offset = 0): ?int
    {
        if ($this->far === null) {
            return null;
        }
        $bytes = substr($bytes, $offset);
        $this->reader->push($bytes);
        while ($this->far !== null && $this->reader->next()) {
            $answer = $this->host->answer($this->reader->kind, $this->reader->payload);
            if ($answer === null) {
                $this->send();
                fclose($this->far);
                $this->far = null;
            } else {
                $this->unsent .= $answer;
            }
        }
        $this->send();

        return strlen($bytes);
    }

    public function read(): ?string
    {
        $bytes = parent::read();
        $this->send();

        return $bytes;
    }

    private function send(): void
    {
        if ($this->far !== null && $this->unsent !== '') {
            $this->unsent = substr($this->unsent, (int) fwrite($this->far, $this->unsent));
        }
    }
}
