<?php

declare(strict_types=1);

namespace Jackfield\Tests\Support;

/**
 * A FastCGI client over a Unix socket: the part of the protocol that makes php-fpm run a script.
 */
final class FastCgi
{
    private const BEGIN_REQUEST = 1;
    private const END_REQUEST = 3;
    private const PARAMS = 4;
    private const STDIN = 5;
    private const STDOUT = 6;
    private const RESPONDER = 1;

    public function __construct(private readonly string $socket)
    {
    }

    /**
     * Runs `$script` with the query and returns the body that it printed.
     *
     * @param array<string, string|int> $query
     * @param float                     $timeout seconds
     */
    public function get(string $script, array $query = [], float $timeout = 60.0): string
    {
        $stream = $this->start($script, $query, $timeout);
        $body = $this->finish($stream);
        fclose($stream);

        return $body;
    }

    /**
     * Sends the request and returns the open connection.
     *
     * Closing the connection before finish() is the same as an HTTP client that disconnects.
     *
     * @param array<string, string|int> $query
     * @param float                     $timeout seconds
     *
     * @return resource
     */
    public function start(string $script, array $query = [], float $timeout = 60.0)
    {
        $stream = stream_socket_client('unix://' . $this->socket, $code, $text, $timeout);
        if ($stream === false) {
            throw new \RuntimeException("cannot connect to php-fpm at {$this->socket}: $text");
        }

        stream_set_timeout($stream, (int) $timeout);

        $params = [
            'GATEWAY_INTERFACE' => 'CGI/1.1',
            'REQUEST_METHOD' => 'GET',
            'SCRIPT_FILENAME' => $script,
            'SCRIPT_NAME' => '/' . basename($script),
            'REQUEST_URI' => '/' . basename($script),
            'SERVER_PROTOCOL' => 'HTTP/1.1',
            'QUERY_STRING' => http_build_query($query),
        ];
        $encoded = '';
        foreach ($params as $name => $value) {
            $encoded .= self::encodeLength($name) . self::encodeLength($value) . $name . $value;
        }

        fwrite(
            $stream,
            self::record(self::BEGIN_REQUEST, pack('nCx5', self::RESPONDER, 0))
            . self::record(self::PARAMS, $encoded) . self::record(self::PARAMS, '')
            . self::record(self::STDIN, '')
        );

        return $stream;
    }

    /**
     * Reads to the end of the request and returns the body without its HTTP headers.
     *
     * If the worker died during the request, the body is incomplete.
     *
     * @param resource $stream
     */
    public function finish($stream): string
    {
        $output = '';
        while (($head = self::readExactly($stream, 8)) !== null) {
            ['type' => $type, 'length' => $length, 'padding' => $padding]
                = unpack('Cversion/Ctype/nid/nlength/Cpadding/Creserved', $head);
            $content = self::readExactly($stream, $length + $padding) ?? '';
            if ($type === self::STDOUT) {
                $output .= substr($content, 0, $length);
            } elseif ($type === self::END_REQUEST) {
                break;
            }
        }

        return explode("\r\n\r\n", $output, 2)[1] ?? '';
    }

    /**
     * @param resource $stream
     *
     * @return string|null null at the end of the stream
     */
    private static function readExactly($stream, int $bytes): ?string
    {
        $read = '';
        while (strlen($read) < $bytes) {
            $more = fread($stream, $bytes - strlen($read));
            if ($more === false || $more === '') {
                return null;
            }
            $read .= $more;
        }

        return $read;
    }

    private static function record(int $type, string $content): string
    {
        return pack('CCnnCx', 1, $type, 1, strlen($content), 0) . $content;
    }

    private static function encodeLength(string $text): string
    {
        return strlen($text) < 128 ? chr(strlen($text)) : pack('N', strlen($text) | 0x80000000);
    }
}
