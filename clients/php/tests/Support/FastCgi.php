<?php

/**
 * One FastCGI request over a Unix socket: just enough of the protocol to make a real php-fpm run a script.
 */

declare(strict_types=1);

namespace Jackfield\Tests\Support;

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
     * Runs `$script` with the query and returns the body it printed.
     *
     * @param array<string, string|int> $query
     */
    public function get(string $script, array $query = [], float $timeout = 60.0): string
    {
        $stream = $this->start($script, $query, $timeout);
        $body = $this->finish($stream);
        fclose($stream);

        return $body;
    }

    /**
     * Sends the request and returns the open connection: closing it early is a visitor who went away.
     *
     * @param array<string, string|int> $query
     * @return resource
     */
    public function start(string $script, array $query = [], float $timeout = 60.0)
    {
        $stream = stream_socket_client('unix://' . $this->socket, $code, $text, $timeout);
        if ($stream === false) {
            throw new \RuntimeException("php-fpm cannot be reached: $text");
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
            $encoded .= self::length($name) . self::length($value) . $name . $value;
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
     * Reads to the end of the request and returns the body without its HTTP headers. A worker that died under
     * the request gives what it had printed so far.
     *
     * @param resource $stream
     */
    public function finish($stream): string
    {
        $output = '';
        while (($head = self::exactly($stream, 8)) !== null) {
            ['type' => $type, 'length' => $length, 'padding' => $padding]
                = unpack('Cversion/Ctype/nid/nlength/Cpadding/Creserved', $head);
            $content = self::exactly($stream, $length + $padding) ?? '';
            if ($type === self::STDOUT) {
                $output .= substr($content, 0, $length);
            } elseif ($type === self::END_REQUEST) {
                break;
            }
        }

        return explode("\r\n\r\n", $output, 2)[1] ?? '';
    }

    /** @param resource $stream */
    private static function exactly($stream, int $bytes): ?string
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

    private static function length(string $text): string
    {
        return strlen($text) < 128 ? chr(strlen($text)) : pack('N', strlen($text) | 0x80000000);
    }
}
