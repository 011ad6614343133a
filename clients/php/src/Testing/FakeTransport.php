<?php

declare(strict_types=1);

namespace Jackfield\Testing;

use Jackfield\Transport\StreamTransport;
use Jackfield\Wire\FrameReader;
use Jackfield\Wire\Header;

/**
 * A connection to a FakeHost.
 *
 * write() passes the requests to the fake host directly. The replies pass through a real socket
 * pair, so that stream_select() reports them.
 *
 * @internal
 */
final class FakeTransport extends StreamTransport
{
    /** @var resource|null the host's end of the socket pair; null after the host closed it */
    private $hostEnd;

    private readonly FrameReader $reader;

    /** Replies that the socket has not accepted yet. */
    private string $unsent = '';

    public function __construct(private readonly FakeHost $host)
    {
        $pair = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
        if ($pair === false) {
            throw new \RuntimeException('FakeTransport: stream_socket_pair() failed');
        }

        [$clientEnd, $this->hostEnd] = $pair;
        stream_set_blocking($this->hostEnd, false);
        $this->reader = new FrameReader(Header::MAX_PAYLOAD);
        parent::__construct($clientEnd);
    }

    public function write(string $bytes, int $offset = 0): ?int
    {
        if ($this->hostEnd === null) {
            return null;
        }

        $bytes = substr($bytes, $offset);
        $this->reader->push($bytes);
        while ($this->hostEnd !== null && $this->reader->next()) {
            $answer = $this->host->answer($this->reader->kind, $this->reader->payload);
            if ($answer === null) {
                $this->flush();
                fclose($this->hostEnd);
                $this->hostEnd = null;
            } else {
                $this->unsent .= $answer;
            }
        }
        $this->flush();

        return strlen($bytes);
    }

    public function read(): ?string
    {
        $bytes = parent::read();
        $this->flush();

        return $bytes;
    }

    private function flush(): void
    {
        if ($this->hostEnd !== null && $this->unsent !== '') {
            $sent = (int) fwrite($this->hostEnd, $this->unsent);
            $this->unsent = substr($this->unsent, $sent);
        }
    }
}
