"""A formula in LibreOffice, which listens at a pipe: `/usr/bin/python3 ask_libreoffice.py PIPE FORMULA`."""

import sys
import time

import uno
from com.sun.star.beans import PropertyValue
from com.sun.star.connection import NoConnectException

pipe, formula = sys.argv[1:]
here = uno.getComponentContext()
resolver = here.ServiceManager.createInstanceWithContext("com.sun.star.bridge.UnoUrlResolver", here)


def connected():
    while True:
        try:
            return resolver.resolve(f"uno:pipe,name={pipe};urp;StarOffice.ComponentContext")
        except NoConnectException:
            time.sleep(0.1)


def given(name, value):
    made = PropertyValue()
    made.Name, made.Value = name, value
    return made


office = connected()
desktop = office.ServiceManager.createInstanceWithContext("com.sun.star.frame.Desktop", office)
# A person would be asked whether the sheet may load what is elsewhere: 3 stands for yes.
options = given("Hidden", value=True), given("UpdateDocMode", 3)
sheet = desktop.loadComponentFromURL("private:factory/scalc", "_blank", 0, options)
cell = sheet.Sheets.getByIndex(0).getCellByPosition(0, 0)
cell.setFormula(formula)
print(cell.getValue(), cell.getError())
sheet.close(True)  # noqa: FBT003 -- a method of UNO
desktop.terminate()
