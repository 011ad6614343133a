<?php

/**
 * A FastCGI client over a Unix socket: one request at a time on a connection that is kept, as a web server does it.
 */

declare(strict_types=1);

namespace Jackfield\Bench;

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
        $stream = stream_socket_client("unix://$socket", $code, $words, 5.0);
        $stream !== false || throw new \RuntimeException("$socket: $words");
        stream_set_read_buffer($stream, 0);
        $this->stream = $stream;
    }

    /** The body that a script answers a POST with. */
    public function post(string $script, string $body): string
    {
        $params = '';
        foreach ([
            'SCRIPT_FILENAME' => $script,
            'REQUEST_METHOD' => 'POST',
            'CONTENT_TYPE' => 'application/json',
            'CONTENT_LENGTH' => (string) strlen($body),
        ] as $name => $value) {
            // Lengths of up to 127 take one byte each.
            strlen($value) < 128 || throw new \LengthException("$name is too long");
            $params .= chr(strlen($name)) . chr(strlen($value)) . $name . $value;
        }
        // Role 1: responder; flag 1: the connection is kept.
        $request = self::record(self::BEGIN, pack('nCx5', 1, 1)) . self::record(self::PARAMS, $params)
            . self::record(self::PARAMS, '') . self::record(self::STDIN, $body) . self::record(self::STDIN, '');
        fwrite($this->stream, $request) === strlen($request) || throw new \RuntimeException('not all was written');
        $answer = '';
        for (;;) {
            [$type, $content] = $this->next();
            if ($type === self::END) {
                break;
            }
            $type !== self::STDERR || throw new \RuntimeException($content);
            if ($type === self::STDOUT) {
                $answer .= $content;
            }
        }
        $parts = explode("\r\n\r\n", $answer, 2);
        isset($parts[1]) && !str_contains($parts[0], 'Status:') || throw new \RuntimeException("answered: $answer");

        return $parts[1];
    }

    private static function record(int $type, string $content): string
    {
        return pack('CCnnCx', 1, $type, 1, strlen($content), 0) . $content;
    }

    /** @return array{int, string} the next record's type and content */
    private function next(): array
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
        $taken = substr($this->unread, 0, $length);
        $this->unread = substr($this->unread, $length);

        return $taken;
    }
}
