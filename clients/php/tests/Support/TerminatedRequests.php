<?php

declare(strict_types=1);

namespace Jackfield\Tests\Support;

use Jackfield\Uuid;
use Jackfield\Wire\Envelope;
use Jackfield\Wire\Header;
use Jackfield\Wire\Hello;
use Jackfield\Wire\RequestFrame;

/**
 * Runs requests under php-fpm that are terminated at a given byte of an exchange.
 *
 * Each run verifies that the request was terminated, and in the intended way.
 */
final class TerminatedRequests
{
    /** The ways in which PHP, its HTTP client or the system terminates a running request. */
    public const WAYS = ['exit', 'fatal', 'time', 'abort', 'kill'];

    /** Output of PHP at the end of such a request. */
    private const EXPECTED_OUTPUT = [
        'exit' => '',
        'fatal' => 'Allowed memory size of 16777216 bytes exhausted',
        'time' => 'Maximum execution time of 1 second exceeded',
        'kill' => '',
    ];

    /**
     * Signal of PHP's time limit (setitimer(2), ITIMER_PROF).
     *
     * The test sends it instead of waiting, which saves one second per byte.
     */
    private const TIME_LIMIT_SIGNAL = SIGPROF;

    /** Time-out of a call of the script, in seconds: slow runs have as many digits. */
    private const TIMEOUT = 9;

    private readonly string $script;

    public function __construct(private readonly PhpFpm $fpm, private readonly Scratch $scratch)
    {
        // php-fpm rejects a path that contains "..".
        $this->script = dirname(__DIR__) . '/Fpm/scripts/request.php';
    }

    /**
     * Returns the length of the hello and the first request of the script, in bytes.
     *
     * After this many bytes the host has the complete request and the client nothing of the reply.
     */
    public static function requestBytes(): int
    {
        $envelope = Envelope::request(Uuid::v4(), 'system.echo', self::params());
        $remaining = self::TIMEOUT * 1_000_000_000 - 1;

        return strlen(self::hello()) + strlen(RequestFrame::of(Header::SYNC_PREFIX, $envelope, $remaining));
    }

    /**
     * Returns the length of the hello, the first request and what answers them, in bytes.
     *
     * @param int $answerBytes length of the frame that answers the hello
     */
    public static function exchangeBytes(int $answerBytes = Header::LENGTH): int
    {
        $reply = json_encode(['id' => Uuid::v4(), 'result' => self::params()], JSON_THROW_ON_ERROR);

        return self::requestBytes() + $answerBytes + strlen(Header::frame(Header::SYNC, $reply));
    }

    /**
     * Returns a hello with the length of that of the script.
     */
    public static function hello(): string
    {
        return (new Hello(0, 0, true))->frame(str_repeat('x', 8));
    }

    /**
     * Runs the script to its end.
     *
     * @param array<string, string|int> $query
     *
     * @return array<string, mixed> the printed report; `terminated` if there was none
     */
    public function run(string $socket, array $query): array
    {
        $body = $this->fpm->cgi->get($this->script, $query + ['socket' => $socket]);

        return json_decode($body, true) ?? ['terminated' => true, 'body' => $body];
    }

    /**
     * Runs the script so that it is terminated once `$at` bytes of its first exchange have passed.
     *
     * @param string                    $way         one of WAYS
     * @param array<string, string|int> $query
     * @param bool                      $awaitKernel whether `time` waits for the timer of the
     *                                               kernel
     *
     * @return bool whether it was terminated; false if its exchange has fewer bytes
     */
    public function terminate(
        string $socket,
        string $way,
        int $at,
        array $query = [],
        bool $awaitKernel = false,
    ): bool {
        $pidFile = $this->scratch->path('terminating.pid');
        @unlink($pidFile);
        $query += ['calls' => 1, 'at' => $at, 'way' => $way, 'pid_file' => $pidFile, 'socket' => $socket];
        $stream = $this->fpm->cgi->start($this->script, $query);

        if ($way === 'abort') {
            fclose($stream);
            // The only worker accepts this request after it has ended the other one.
            $this->fpm->cgi->get($this->script, ['calls' => 0, 'socket' => $socket]);

            return is_file($pidFile);
        }

        if ($way === 'kill' || $way === 'time' && !$awaitKernel) {
            // A request that is not terminated sends its report instead.
            Wait::until(static function () use ($pidFile, $stream): bool {
                $read = [$stream];
                $none = null;

                return is_file($pidFile) || stream_select($read, $none, $none, 0) > 0;
            }, "the request reaches byte $at or ends");
            if (is_file($pidFile)) {
                $signal = $way === 'kill' ? SIGKILL : self::TIME_LIMIT_SIGNAL;
                posix_kill((int) file_get_contents($pidFile), $signal);
            }
        }

        $body = $this->fpm->cgi->finish($stream);
        fclose($stream);
        $reported = is_array(json_decode($body, true));
        if ($reported === is_file($pidFile)) {
            throw new \LogicException(
                "the request announced its termination by $way at byte $at and continued, or the reverse"
            );
        }

        if (!$reported && !str_contains($body, self::EXPECTED_OUTPUT[$way])) {
            throw new \LogicException("the request was terminated at byte $at, but not by $way: $body");
        }

        return !$reported;
    }

    /** @return array<string, string> params with the same length as those that the script sends */
    private static function params(): array
    {
        return ['token' => str_repeat('0', 16)];
    }
}
