<?php

declare(strict_types=1);

namespace Jackfield\Tests\Fpm;

use Jackfield\Exception\ConnectException;
use Jackfield\Tests\Support\PhpFpm;
use Jackfield\Tests\Support\TestCase;

/**
 * Tests that a worker of php-fpm remembers from request to request that the host is down.
 */
final class HostDownTest extends TestCase
{
    private ?PhpFpm $fpm = null;

    protected function tearDown(): void
    {
        $this->fpm?->stop();
        parent::tearDown();
    }

    public function testOnlyTheFirstTwoRequestsWaitForAHostThatIsDown(): void
    {
        $this->fpm = PhpFpm::start($this->scratch) ?? self::markTestSkipped(PhpFpm::MISSING);
        $socket = $this->scratch->path('host.sock');
        file_put_contents(
            $this->scratch->path('fifo.json'),
            json_encode(['server' => ['connections' => [[['serve' => 'fifo']]]]])
        );

        for ($round = 0; $round < 2; $round++) {
            $durations = [];
            for ($request = 0; $request < 3; $request++) {
                ['outcome' => $outcome, 'ns' => $durations[]] = $this->request($socket);
                self::assertSame(ConnectException::class, $outcome);
            }
            self::assertGreaterThanOrEqual(499_000_000, min($durations[0], $durations[1]));
            self::assertLessThan($durations[0] / 2, $durations[2], 'the third request does not wait');

            $server = $this->playFile($this->scratch->path('fifo.json'), [], $socket);
            self::assertSame(['x'], $this->request($socket)['outcome'], 'the host is back');
            $server->finish();
        }
    }

    /** @return array{outcome: mixed, ns: int} */
    private function request(string $socket): array
    {
        return json_decode($this->fpm->cgi->get(__DIR__ . '/scripts/down.php', ['socket' => $socket]), true);
    }
}
