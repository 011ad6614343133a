<?php

declare(strict_types=1);

namespace Jackfield\Transport;

use Jackfield\Exception\InvalidRequestException;

/**
 * Connects to a Unix socket.
 *
 * PHP closes the connection when the script ends, unless it was closed before.
 */
final class UnixConnector implements Connector
{
    private readonly UnixAddress $unix;

    /**
     * @param string $address `unix:///path`, or a path alone
     *
     * @throws InvalidRequestException if it is neither, or the path has more than 107 bytes
     */
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
