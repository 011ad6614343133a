<?php

declare(strict_types=1);

namespace Jackfield\Bench;

/**
 * A FastCGI client over a Unix socket.
 *
 * It makes one request at a time on a persistent connection, as a web server does.
 */
final class FastCgi
{
    private const BEGIN = 1;
    private const END = 3;
    private const PARAMS = 4;
    private const STDIN = 5;
    private const STDOUT = 6;
    private const STDERR = 7;

    /** @var resource */
    private $stream;

    private string $unread = '';

    public function __construct(string $socket)
    {
        $stream = stream_socket_client("unix://$socket", $code, $reason, 5.0);
        $stream !== false || throw new \RuntimeException("cannot connect to php-fpm at $socket: $reason");
        stream_set_read_buffer($stream, 0);
        $this->stream = $stream;
    }

    /**
     * Sends a POST request to a script and returns the body of the response.
     */
    public function post(string $script, string $body): string
    {
        $params = '';
        foreach ([
            'SCRIPT_FILENAME' => $script,
            'REQUEST_METHOD' => 'POST',
            'CONTENT_TYPE' => 'application/json',
            'CONTENT_LENGTH' => (string) strlen($body),
        ] as $name => $value) {
            // Lengths up to 127 are encoded in one byte.
            strlen($value) < 128 || throw new \LengthException("the FastCGI parameter $name exceeds 127 bytes");
            $params .= chr(strlen($name)) . chr(strlen($value)) . $name . $value;
        }

        // Role 1 is the responder. Flag 1 keeps the connection open.
        $request = self::record(self::BEGIN, pack('nCx5', 1, 1)) . self::record(self::PARAMS, $params)
            . self::record(self::PARAMS, '') . self::record(self::STDIN, $body) . self::record(self::STDIN, '');
        fwrite($this->stream, $request) === strlen($request)
            || throw new \RuntimeException('the FastCGI request was not completely written');

        $response = '';
        for (;;) {
            [$type, $content] = $this->readRecord();
            if ($type === self::END) {
                break;
            }
            $type !== self::STDERR || throw new \RuntimeException("php-fpm reported an error: $content");
            if ($type === self::STDOUT) {
                $response .= $content;
            }
        }

        $parts = explode("\r\n\r\n", $response, 2);
        isset($parts[1]) && !str_contains($parts[0], 'Status:')
            || throw new \RuntimeException("php-fpm answered with an error: $response");

        return $parts[1];
    }

    private static function record(int $type, string $content): string
    {
        return pack('CCnnCx', 1, $type, 1, strlen($content), 0) . $content;
    }

    /** @return array{int, string} type and content of the next record */
    private function readRecord(): array
    {
        ['type' => $type, 'length' => $length, 'padding' => $padding] =
            unpack('Cversion/Ctype/nid/nlength/Cpadding', $this->read(8));

        return [$type, substr($this->read($length + $padding), 0, $length)];
    }

    private function read(int $length): string
    {
        while (strlen($this->unread) < $length) {
            $part = fread($this->stream, 65536);
            $part !== false && $part !== '' || throw new \RuntimeException('php-fpm closed the connection');
            $this->unread .= $part;
        }

        $bytes = substr($this->unread, 0, $length);
        $this->unread = substr($this->unread, $length);

        return $bytes;
    }
}
