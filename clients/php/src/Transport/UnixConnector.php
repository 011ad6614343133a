<?php

/**
 * Connects to a Unix socket; the connection ends with its owner.
 */

declare(strict_types=1);

namespace Jackfield\Transport;

final class UnixConnector implements Connector
{
    private readonly UnixAddress $unix;

    public function __construct(string $address)
    {
        $this->unix = UnixAddress::parse($address);
    }

    public function connect(): Transport
    {
        return new StreamTransport($this->unix->open($this->unix->path, STREAM_CLIENT_CONNECT));
    }

    public function address(): string
    {
        return 'unix://' . $this->unix->path;
    }
}
