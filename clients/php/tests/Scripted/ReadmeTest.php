<?php

declare(strict_types=1);

namespace Jackfield\Tests\Scripted;

use Jackfield\Exception\JackfieldException;
use Jackfield\Tests\Support\JackfieldHost;
use Jackfield\Tests\Support\TestCase;

/**
 * Runs the examples of README.md and compares their output.
 */
final class ReadmeTest extends TestCase
{
    private const README = __DIR__ . '/../../README.md';
    private const ADDRESS = 'unix:///run/jackfield/jackfield.sock';

    /** @return iterable<string, array{string, string}> */
    public static function examples(): iterable
    {
        $found = preg_match_all(
            '/^## (\d\.[^\n]*)\n\n```php\n(.*?)```\n```text\n(.*?)```\n/ms',
            (string) file_get_contents(self::README),
            $examples,
            PREG_SET_ORDER
        );
        for ($i = 0; $i < $found; $i++) {
            yield $examples[$i][1] => [$examples[$i][2], $examples[$i][3]];
        }
    }

    public function testFindsFiveExamples(): void
    {
        self::assertCount(5, iterator_to_array(self::examples()));
    }

    /** @dataProvider examples */
    public function testExamplePrintsItsOutputAgainstTheScriptedServer(string $code, string $printed): void
    {
        $this->assertPrints($printed, $code, $this->play([[['serve' => 'shuffled', 'results' => [
            'device.status.update' => ['deviceId' => 'dev_123', 'status' => 'online', 'sequence' => 1],
        ]]]])->address);
    }

    /** @dataProvider examples */
    public function testExamplePrintsItsOutputAgainstTheHost(string $code, string $printed): void
    {
        $host = JackfieldHost::start($this->scratch, ['device']);
        $this->assertPrints($printed, $code, $host->address);
        $host->stop();
    }

    private function assertPrints(string $printed, string $code, string $address): void
    {
        $file = $this->scratch->path('example.php');
        file_put_contents($file, sprintf(
            "<?php\nrequire %s;\n%s",
            var_export(dirname(self::README) . '/autoload.php', true),
            str_replace(self::ADDRESS, $address, $code)
        ));
        $process = proc_open(
            [PHP_BINARY, '-d', 'display_errors=stderr', '-d', 'error_reporting=-1', $file],
            [['file', '/dev/null', 'r'], ['pipe', 'w'], ['pipe', 'w']],
            $pipes
        );
        $output = stream_get_contents($pipes[1]);
        $errors = stream_get_contents($pipes[2]);
        self::assertSame(0, proc_close($process), (string) $errors);
        self::assertSame('', $errors);
        self::assertSame($printed, $output);
    }

    public function testReadmeNamesEachException(): void
    {
        $readme = (string) file_get_contents(self::README);
        foreach (glob(dirname(self::README) . '/src/Exception/*.php') ?: [] as $file) {
            $name = basename($file, '.php');
            self::assertStringContainsString($name, $readme);
            self::assertTrue(is_a("Jackfield\\Exception\\$name", JackfieldException::class, true), $name);
        }
    }
}
